"""Where data rests: input files, the lake, results, data sets. No Beam."""
