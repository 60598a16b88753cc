"""python -m headstream"""

from headstream.cli import run

run()
