"""A world to play with: simulated payments in an archive, late and reversed chargebacks, and the three files that ask for a dataset."""
