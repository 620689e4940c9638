"""Objects in a bucket that speaks S3 and knows conditional writes."""
