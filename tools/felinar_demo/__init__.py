"""The main job in one command: a simulated street, the real daemon, the live view, and an account at the end."""
