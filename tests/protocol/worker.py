"""The MicroPython end of the differential tests: a line with a list of [name, args] in, a line of answers out."""

import json
import sys

import calls

for line in sys.stdin:
    answers = []
    for name, args in json.loads(line):
        try:
            answers.append(calls.call(name, args))
        except Exception as error:
            answers.append({"bug": repr(error)})
    print(json.dumps(answers))
