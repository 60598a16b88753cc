"""What is done with photos, one or many, for any caller."""
