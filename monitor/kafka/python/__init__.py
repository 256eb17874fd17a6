"""kafka-python behind the port: the client of every install."""
