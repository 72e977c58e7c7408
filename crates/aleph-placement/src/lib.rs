//! Which core node answers for a program, and which compute node runs it.
