"""Names of things: every id says by its prefix what it names."""

from typing import NewType

RunId = NewType("RunId", str)
"""`run_<ISO time to the second>_<22 url-safe characters>`."""
ContinuationId = NewType("ContinuationId", str)
"""`cont_<UUIDv7>`: the handle of one open human task."""
RequestId = NewType("RequestId", str)
"""`req_<UUIDv7>`: one question to a person; the answer must name it."""
AuditId = NewType("AuditId", str)
"""`aud_<UUIDv7>`."""
PlanHash = NewType("PlanHash", str)
"""Hex SHA-256 of the canonical JSON of a plan."""
StepKey = NewType("StepKey", str)
"""One instance of a step inside a run, by its path of frames and visits: `main/p3#1/w0/h#2`."""
Owner = NewType("Owner", str)
"""A worker: host, boot id, process id and start time of the process."""
