wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"query": "How do I upgrade the Helm chart?", "mode": "vector", "top_k": 10}'
