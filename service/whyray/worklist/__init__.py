"""Being asked for work by UPS-RS (PS3.18 section 11), after IHE AI Workflow for Imaging.

`OwnWorklist` is a worklist of WhyRay's own, served by `worklist_routes` of the module `web`, which is imported where it
is wanted; `RemoteWorklist` is somebody else's. A `Performer` takes workitems from both, has jobs made, tells progress,
and closes them with references to the results.
"""

from whyray.worklist.fetch import Keep
from whyray.worklist.own import OWN, OwnWorklist
from whyray.worklist.performer import MakeJobs, Performer, Source, Worklist
from whyray.worklist.remote import RemoteWorklist
from whyray.worklist.workitem import Code, Input, Order, read_order

__all__ = [
    "OWN",
    "Code",
    "Input",
    "Keep",
    "MakeJobs",
    "Order",
    "OwnWorklist",
    "Performer",
    "RemoteWorklist",
    "Source",
    "Worklist",
    "read_order",
]
