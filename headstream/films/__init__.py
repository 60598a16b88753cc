"""What is done with whole films, for any caller: cut, tracked, cropped, pasted; in segments, in pieces."""
