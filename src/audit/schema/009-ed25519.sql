-- Ed25519 (RFC 8032, section 5.1.7) in SQL, so that signatures can be checked with nothing but the database. Whole
-- numbers as numeric; points in extended coordinates (Hisil, Wong, Carter, Dawson 2008), whose addition has no exceptions.
-- Not in constant time: it works with public values only.

-- The number that little-endian bytes stand for.
CREATE FUNCTION @schema@.from_little_endian(bytes bytea) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n numeric := 0;
BEGIN
  FOR i IN REVERSE octet_length(bytes) - 1 .. 0 LOOP
    n := n * 256 + get_byte(bytes, i);
  END LOOP;
  RETURN n;
END
$$;

-- 1/n mod a prime, between 0 and the prime; 0 for 0.
CREATE FUNCTION @schema@.inverse(n numeric, prime numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  a numeric := mod(mod(n, prime) + prime, prime);
  b numeric := prime;
  x numeric := 1;
  y numeric := 0;
  q numeric;
BEGIN
  WHILE a > 1 LOOP
    q := div(b, a);
    SELECT b - q * a, a, y - q * x, x INTO a, b, x, y;
  END LOOP;
  RETURN CASE WHEN a = 0 THEN 0 ELSE mod(mod(x, prime) + prime, prime) END;
END
$$;

-- The x of the point that 32 bytes name (RFC 8032, section 5.1.3); null: they name none.
CREATE FUNCTION @schema@.ed25519_x(encoded bytea) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p CONSTANT numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  d CONSTANT numeric := 37095705934669439343138083508754565189542113879843219016388785533085940283555;
  sign int := get_bit(encoded, 255);
  y numeric := @schema@.from_little_endian(set_bit(encoded, 255, 0));
  u numeric;
  v numeric;
  x numeric;
  base numeric;
  power numeric;
  step numeric;
BEGIN
  IF y >= p THEN RETURN NULL; END IF;
  u := mod(y * y - 1 + p, p);
  v := mod(d * mod(y * y, p) + 1, p);
  -- x = u v^3 (u v^7)^((p-5)/8), and (p-5)/8 = 2^252 - 3.
  base := mod(u * mod(mod(mod(v * v, p) * v, p) * mod(mod(v * v, p) * mod(v * v, p), p), p), p);
  -- power := base^(2^n - 1) for n = 1, 2, 4, … put together to n = 250.
  power := 1;
  FOR bit IN 0 .. 7 LOOP
    -- 250 = 11111010 in binary.
    step := power;
    IF bit > 0 THEN
      FOR i IN 1 .. (250 >> (8 - bit)) LOOP step := mod(step * step, p); END LOOP;
      power := mod(step * power, p);
    END IF;
    IF (250 >> (7 - bit)) & 1 = 1 THEN power := mod(mod(power * power, p) * base, p); END IF;
  END LOOP;
  power := mod(power * power, p);
  power := mod(mod(power * power, p) * base, p);
  x := mod(mod(u * mod(mod(v * v, p) * v, p), p) * power, p);
  IF mod(v * mod(x * x, p), p) <> u THEN
    -- The square root of -1.
    x := mod(x * 19681161376707505956807079304988542015446066515923890162744021073123829784752, p);
    IF mod(v * mod(x * x, p), p) <> u THEN RETURN NULL; END IF;
  END IF;
  IF x = 0 AND sign = 1 THEN RETURN NULL; END IF;
  RETURN CASE WHEN mod(x, 2) = sign THEN x ELSE p - x END;
END
$$;

-- Whether `signature` (64 bytes) is that of `public_key` (32 bytes) over `message`. False also for what has another
-- length, is no point, or has an S that is not below the order of the group.
CREATE FUNCTION @schema@.ed25519_verify(public_key bytea, message bytea, signature bytea) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p CONSTANT numeric := 57896044618658097711785492504343953926634992332820282019728792003956564819949;
  l CONSTANT numeric := 7237005577332262213973186563042994240857116359379907606001950938285454250989;
  d2 CONSTANT numeric := 16295367250680780974490674513165176452449235426866156013048779062215315747161;
  base_x CONSTANT numeric := 15112221349535400772501151409588531511454012693041857206046113283949847762202;
  base_y CONSTANT numeric := 46316835694926478169428394003475163141307993866256225615783033603165251855960;
  s bytea;
  h numeric;
  digits int[] := '{}';
  ax numeric;
  ay numeric;
  -- B, -A and B - A, each as y - x, y + x, 2dt, 2z.
  minus numeric[];
  plus numeric[];
  t2d numeric[];
  z2 numeric[];
  x numeric := 0;
  y numeric := 1;
  z numeric := 1;
  t numeric := 0;
  a numeric;
  b numeric;
  c numeric;
  e numeric;
  f numeric;
  g numeric;
  k numeric;
  pick int;
BEGIN
  IF octet_length(public_key) <> 32 OR octet_length(signature) <> 64 THEN RETURN false; END IF;
  s := substr(signature, 33);
  IF @schema@.from_little_endian(s) >= l THEN RETURN false; END IF;
  ax := @schema@.ed25519_x(public_key);
  IF ax IS NULL THEN RETURN false; END IF;
  ax := mod(p - ax, p);
  ay := @schema@.from_little_endian(set_bit(public_key, 255, 0));
  h := mod(@schema@.from_little_endian(sha512(substr(signature, 1, 32) || public_key || message)), l);
  FOR i IN 0 .. 8 LOOP
    digits[i] := mod(h, 1073741824)::int;
    h := div(h, 1073741824);
  END LOOP;
  minus := ARRAY[mod(base_y - base_x, p), mod(ay - ax, p)];
  plus := ARRAY[mod(base_y + base_x, p), mod(ay + ax, p)];
  t2d := ARRAY[mod(d2 * mod(base_x * base_y, p), p), mod(d2 * mod(ax * ay, p), p)];
  z2 := ARRAY[2::numeric, 2];
  -- B + (-A).
  a := mod((base_y - base_x) * minus[2], p);
  b := mod((base_y + base_x) * plus[2], p);
  c := mod(mod(base_x * base_y, p) * t2d[2], p);
  e := b - a;
  f := 2 - c;
  g := 2 + c;
  k := b + a;
  minus[3] := mod(g * k - e * f, p);
  plus[3] := mod(g * k + e * f, p);
  t2d[3] := mod(d2 * mod(e * k, p), p);
  z2[3] := mod(2 * f * g, p);

  -- [S]B + [h](-A), the bits of both at once.
  FOR i IN REVERSE 252 .. 0 LOOP
    a := mod(x * x, p);
    b := mod(y * y, p);
    e := mod((x + y) * (x + y), p) - a - b;
    g := b - a;
    f := g - mod(2 * z * z, p);
    k := -a - b;
    x := mod(e * f, p);
    y := mod(g * k, p);
    z := mod(f * g, p);
    pick := get_bit(s, i) + 2 * ((digits[i / 30] >> (i % 30)) & 1);
    IF pick > 0 THEN
      t := mod(e * k, p);
      a := mod((y - x) * minus[pick], p);
      b := mod((y + x) * plus[pick], p);
      c := mod(t * t2d[pick], p);
      z := mod(z * z2[pick], p);
      e := b - a;
      f := z - c;
      g := z + c;
      k := b + a;
      x := mod(e * f, p);
      y := mod(g * k, p);
      z := mod(f * g, p);
    END IF;
  END LOOP;
  z := @schema@.inverse(z, p);
  x := mod(mod(x * z, p) + p, p);
  y := mod(mod(y * z, p) + p, p);
  -- R, as it would be encoded, must be the bytes that the signature has: another encoding of it is another signature.
  RETURN y = @schema@.from_little_endian(set_bit(substr(signature, 1, 32), 255, 0))
     AND mod(x, 2) = get_bit(signature, 255);
END
$$;
COMMENT ON FUNCTION @schema@.ed25519_verify IS
  'Whether a signature is that of an Ed25519 key over a message (RFC 8032), computed here: some hundredths of a second.';

REVOKE ALL ON FUNCTION @schema@.from_little_endian, @schema@.inverse, @schema@.ed25519_x, @schema@.ed25519_verify FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @schema@.ed25519_verify TO @auditor@;
