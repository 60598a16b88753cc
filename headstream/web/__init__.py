"""The studio: a page on this machine that cuts the browser's webcam live, and files dropped on it; and the OBS overlay."""
