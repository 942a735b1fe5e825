"""Hydra launchers that run the jobs of a sweep side by side: `hydra/launcher=joblib`, `hydra/launcher=ray`.

Hydra's plugins of these names do not do for sweeps that survive. In joblib's, a worker that is killed takes the other
jobs with it, and nothing says which job it was. Ray's cannot join a cluster (it hands `object_store_memory` to
`ray.init`, which takes it for a new one only) and leaves the results on nodes without a shared file system. Both start
workers for jobs that finished before. Here those are seen first, and a sweep with nothing to do starts no worker.
"""
