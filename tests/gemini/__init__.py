"""A Gemini server that speaks the REST wire as google-genai 3.4 does, enforces quotas and keeps a bill of its own.

It is the judge of `services/gemini_proxy`, so it shares no code with it: its token rules, prices and windows are its
own. `server.emulator(config)` runs it inside a test, `python -m tests.gemini` as a process. What it answers is in
`script`, how it fails in `faults`, what it charges in `bill`, what it refuses in `quotas`.
"""
