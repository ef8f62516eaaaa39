"""The lamp node: samples its street, keeps what it measured until the host has it, and switches the lamp."""
