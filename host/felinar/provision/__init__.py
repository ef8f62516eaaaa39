"""From a plan to labelled boards: plan, ledger, batch and labels."""
