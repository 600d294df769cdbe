"""Devices to test against: real adbd, real LiteRT, in namespaces of this machine. README.md says what is real here."""
