"""What a queued job does: claim, answer and explain the study's images, renew the lease, store the results."""
