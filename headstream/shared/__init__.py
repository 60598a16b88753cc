"""What several rooms need: pure functions and small tools. Imports no room."""
