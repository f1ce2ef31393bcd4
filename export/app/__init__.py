"""The folder that an app takes over, and the clients that open it."""
