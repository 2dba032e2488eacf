#!/usr/bin/env bash
# Pins every image that deploy/compose.yaml and the Dockerfile use to the digest that its tag has now, in deploy/.env,
# which `docker compose` reads. Needs docker with buildx, and a way to the registry.
set -euo pipefail
cd "$(dirname "$0")"
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT
while read -r name image; do
  digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
  [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "no digest of $image: '$digest'" >&2; exit 1; }
  echo "$name=$image@$digest" >>"$pins"
done < <(grep --only-matching --no-filename --extended-regexp '\$\{[A-Z]+_IMAGE:-[^}]+\}' compose.yaml | sort --unique | sed -E 's/^\$\{([A-Z_]+):-([^}]+)\}$/\1 \2/')
grep --invert-match '_IMAGE=' .env 2>/dev/null >>"$pins" || true
cp "$pins" .env
echo "pinned in deploy/.env:"
cat .env
