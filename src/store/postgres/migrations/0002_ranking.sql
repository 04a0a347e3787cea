-- How often `term` occurs in `vector`, 30 at most. `ts_rank` of a single term with all weights 1 is
-- the sum of 1/j^2 over its occurrences j = 1, 2, ..., times 6/pi^2; the bounds lie halfway between
-- these sums.
CREATE FUNCTION alfred_occurrences(vector tsvector, term tsquery) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN width_bucket(
    ts_rank('{1,1,1,1}'::real[], vector, term)::float8 * 1.6449340668482264,
    ARRAY[
        0.5, 1.125, 1.30556, 1.39236, 1.44361, 1.4775, 1.50159, 1.51961, 1.53359, 1.54477,
        1.5539, 1.5615, 1.56794, 1.57344, 1.57822, 1.58239, 1.58608, 1.58935, 1.59228, 1.59491,
        1.5973, 1.59946, 1.60144, 1.60326, 1.60492, 1.60646, 1.60789, 1.60921, 1.61044, 1.61159
    ]::float8[]
);
