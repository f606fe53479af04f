"""A small tracking server beside one attempt: it turns what the user's script reports into files of the run directory.

It speaks what the ``mlflow`` client and the Kubeflow status hook of transformers say, on the loopback only, in a process of its
own, and needs neither the API nor a token of the service. ``docs/TRACKING.md`` tells routes, files and limits.
"""
