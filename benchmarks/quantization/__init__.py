"""What quantization costs, end to end: module by module, method by method, and the cheapest network within a gate."""
