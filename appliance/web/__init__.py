"""The service (``api``) and the website (``pages``) behind one gate. Bottle, waitress and Jinja2 live only here."""
