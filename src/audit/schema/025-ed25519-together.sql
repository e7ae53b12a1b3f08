-- Many Ed25519 signatures at a time: what those of one key share is computed once.

-- Multiples of a point, so that it can be multiplied without doubling: for each digit of `bits` bits of a number below
-- 2^256, from the lowest, 1 to 2^(bits-1) times its worth times the point; each as y - x, y + x, 2dt, 2z.
CREATE FUNCTION @schema@.ed25519_multiples(point_x numeric, point_y numeric, bits int) RETURNS numeric[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p CONSTANT numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  d2 CONSTANT numeric := 16295367250680780974490674513165176452449235426866156013048779062215315747161;
  half CONSTANT int := 1 << (bits - 1);
  multiples numeric[] := '{}';
  next int := 1;
  x numeric := point_x;
  y numeric := point_y;
  z numeric := 1;
  t numeric := mod(point_x * point_y, p);
  -- What is added.
  minus numeric;
  plus numeric;
  t2d numeric;
  z2 numeric;
  a numeric;
  b numeric;
  c numeric;
  e numeric;
  f numeric;
  g numeric;
  h numeric;
BEGIN
  FOR digit IN 1 .. 256 / bits LOOP
    FOR times IN 1 .. half LOOP
      multiples[next] := mod(y - x + p, p);
      multiples[next + 1] := mod(y + x, p);
      multiples[next + 2] := mod(d2 * t, p);
      multiples[next + 3] := mod(2 * z, p);
      -- The digit's worth is added each time; at the end half of the next one's to itself.
      IF times = 1 OR times = half THEN
        minus := multiples[next];
        plus := multiples[next + 1];
        t2d := multiples[next + 2];
        z2 := multiples[next + 3];
      END IF;
      next := next + 4;
      a := mod((y - x) * minus, p);
      b := mod((y + x) * plus, p);
      c := mod(t * t2d, p);
      z := mod(z * z2, p);
      e := b - a;
      f := z - c;
      g := z + c;
      h := b + a;
      x := mod(mod(e * f, p) + p, p);
      y := mod(mod(g * h, p) + p, p);
      z := mod(mod(f * g, p) + p, p);
      t := mod(e * h, p);
    END LOOP;
  END LOOP;
  RETURN multiples;
END
$$;

-- A number below 2^253 in digits of `bits` bits (4 or 8), the lowest first, from 1 - 2^(bits-1) to 2^(bits-1).
CREATE FUNCTION @schema@.signed_digits(n numeric, bits int) RETURNS int[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  rest numeric := n;
  piece int;
  digits int[] := '{}';
  digit int;
  carry int := 0;
  half CONSTANT int := 1 << (bits - 1);
BEGIN
  FOR i IN 0 .. 256 / bits - 1 LOOP
    IF i % (24 / bits) = 0 THEN
      piece := mod(rest, 16777216)::int;
      rest := div(rest, 16777216);
    END IF;
    digit := (piece & (2 * half - 1)) + carry;
    piece := piece >> bits;
    -- What is too much for this digit stands in it negatively, and is one more in the next.
    carry := CASE WHEN digit > half THEN 1 ELSE 0 END;
    digits[i + 1] := digit - carry * 2 * half;
  END LOOP;
  RETURN digits;
END
$$;

-- ed25519_verify() for many signatures, each as if alone; null counts as false. What many signatures of one key share is
-- computed once, so those of a key should stand together: a twentieth to a fifth of the time of one alone.
CREATE FUNCTION @schema@.ed25519_verify_many(public_keys bytea[], messages bytea[], signatures bytea[]) RETURNS boolean[]
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p CONSTANT numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  l CONSTANT numeric := 7237005577332262213973186563042994240857116359379907606001950938285454250989;
  base_x CONSTANT numeric := 15112221349535400772501151409588531511454012693041857206046113283949847762202;
  base_y CONSTANT numeric := 46316835694926478169428394003475163141307993866256225615783033603165251855960;
  total CONSTANT int := coalesce(cardinality(signatures), 0);
  -- Multiples of B, then of -A, for the key of those from `first` to `last`.
  bits int[] := ARRAY[CASE WHEN total < 400 THEN 4 ELSE 8 END, 4];
  of_base numeric[];
  multiples numeric[];
  digits int[];
  half int;
  start int;
  first int;
  last int := 0;
  ax numeric;
  s numeric;
  r_y numeric;
  k int;
  x numeric;
  y numeric;
  z numeric;
  t numeric;
  a numeric;
  b numeric;
  c numeric;
  e numeric;
  f numeric;
  g numeric;
  h numeric;
  verdicts boolean[] := array_fill(false, ARRAY[total]);
  -- Those whose y is that of R; whether their x is, too, takes the inverse of z, which is computed of all z at once.
  places int[] := '{}';
  xs numeric[] := '{}';
  zs numeric[] := '{}';
  products numeric[] := '{}';
  count int := 0;
BEGIN
  IF cardinality(public_keys) IS DISTINCT FROM cardinality(signatures)
     OR cardinality(messages) IS DISTINCT FROM cardinality(signatures) THEN
    RAISE EXCEPTION 'as many keys and messages as signatures' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  WHILE last < total LOOP
    first := last + 1;
    last := first;
    WHILE last < total AND public_keys[last + 1] = public_keys[first] LOOP last := last + 1; END LOOP;
    IF last - first < 3 THEN
      FOR i IN first .. last LOOP
        verdicts[i] := coalesce(@schema@.ed25519_verify(public_keys[i], messages[i], signatures[i]), false);
      END LOOP;
      CONTINUE;
    END IF;
    CONTINUE WHEN octet_length(public_keys[first]) <> 32;
    ax := @schema@.ed25519_x(public_keys[first]);
    CONTINUE WHEN ax IS NULL;
    of_base := coalesce(of_base, @schema@.ed25519_multiples(base_x, base_y, bits[1]));
    bits[2] := CASE WHEN last - first < 400 THEN 4 ELSE 8 END;
    multiples := of_base || @schema@.ed25519_multiples(mod(p - ax, p),
      @schema@.from_little_endian(set_bit(public_keys[first], 255, 0)), bits[2]);
    FOR i IN first .. last LOOP
      CONTINUE WHEN messages[i] IS NULL OR octet_length(signatures[i]) IS DISTINCT FROM 64;
      s := @schema@.from_little_endian(substr(signatures[i], 33));
      r_y := @schema@.from_little_endian(set_bit(substr(signatures[i], 1, 32), 255, 0));
      CONTINUE WHEN s >= l OR r_y >= p;
      -- [S]B + [h](-A), digit by digit.
      x := 0;
      y := 1;
      z := 1;
      t := 0;
      start := -3;
      FOR part IN 1 .. 2 LOOP
        IF part = 2 THEN
          s := mod(@schema@.from_little_endian(sha512(substr(signatures[i], 1, 32) || public_keys[i] || messages[i])), l);
        END IF;
        digits := @schema@.signed_digits(s, bits[part]);
        half := 4 << (bits[part] - 1);
        FOREACH k IN ARRAY digits LOOP
          IF k > 0 THEN
            k := start + 4 * k;
            a := mod((y - x) * multiples[k], p);
            b := mod((y + x) * multiples[k + 1], p);
            c := mod(t * multiples[k + 2], p);
          ELSIF k < 0 THEN
            k := start - 4 * k;
            a := mod((y - x) * multiples[k + 1], p);
            b := mod((y + x) * multiples[k], p);
            c := mod(-t * multiples[k + 2], p);
          END IF;
          IF k <> 0 THEN
            z := mod(z * multiples[k + 3], p);
            e := b - a;
            f := z - c;
            g := z + c;
            h := b + a;
            x := mod(e * f, p);
            y := mod(g * h, p);
            z := mod(f * g, p);
            t := mod(e * h, p);
          END IF;
          start := start + half;
        END LOOP;
      END LOOP;
      -- z is never 0: the addition has no exceptions.
      CONTINUE WHEN z = 0 OR mod(r_y * z - y, p) <> 0;
      count := count + 1;
      places[count] := i;
      xs[count] := x;
      zs[count] := z;
      products[count] := CASE WHEN count = 1 THEN z ELSE mod(products[count - 1] * z, p) END;
    END LOOP;
  END LOOP;
  z := @schema@.inverse(products[count], p);
  FOR i IN REVERSE count .. 1 LOOP
    x := CASE WHEN i = 1 THEN z ELSE mod(z * products[i - 1], p) END;
    z := mod(z * zs[i], p);
    x := mod(mod(xs[i] * x, p) + p, p);
    verdicts[places[i]] := mod(x, 2) = get_bit(signatures[places[i]], 255);
  END LOOP;
  RETURN verdicts;
END
$$;

REVOKE ALL ON FUNCTION @schema@.ed25519_multiples, @schema@.signed_digits, @schema@.ed25519_verify_many FROM PUBLIC;
