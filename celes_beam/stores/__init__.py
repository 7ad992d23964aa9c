"""Where data rests: input files, the lake and its rejected rows. No Beam."""
