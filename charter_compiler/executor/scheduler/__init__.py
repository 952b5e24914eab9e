"""Which call goes to the target next, and when the next item may start: pure state, without clock, task or socket.

The asyncio run time (``executor.fleet.lane``) and ``predict``, in virtual time, drive the same classes.
"""
