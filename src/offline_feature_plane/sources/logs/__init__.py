"""Logs, wherever they are held: stretches, portions and records of them, and what two holders say of one."""
