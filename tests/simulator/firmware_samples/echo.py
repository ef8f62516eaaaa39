# Tells every byte that comes.
import sys

while True:
    print("got", sys.stdin.buffer.read(1))
