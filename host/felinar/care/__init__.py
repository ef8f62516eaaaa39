"""The technician's commands on a board that is there already: doctor, monitor, self-test, backup, its prompt and its files."""
