"""Pure decisions: a plan and a run so far in, the next commands out."""
