"""The venue as data: payloads, decoding, requests, errors, and the one HTTP client."""
