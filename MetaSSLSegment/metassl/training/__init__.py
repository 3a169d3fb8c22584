"""From a run folder with job.json and dataset.json to a model folder."""
