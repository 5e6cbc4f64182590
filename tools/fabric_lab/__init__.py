"""The lab: nodes with several rails on one machine, and what can go wrong with them."""
