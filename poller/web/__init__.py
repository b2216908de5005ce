"""What is answered over HTTP: metrics, health, the API and the status page."""
