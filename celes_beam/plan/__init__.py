"""What a job on Dataflow would be, need and cost, told before it is launched."""
