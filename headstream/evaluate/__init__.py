"""How good a network is: scores, curves, and reports that show pictures beside the numbers."""
