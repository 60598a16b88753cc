"""Head clips out of a film and back into it: the track they are cut along."""
