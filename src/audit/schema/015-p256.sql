-- ECDSA over P-256 with SHA-256 (FIPS 186-5, section 6.4.2), the signatures of passkeys (ES256), in SQL, so that they can
-- be checked with nothing but the database. Whole numbers as numeric; points in Jacobian coordinates (x/z^2, y/z^3), with
-- z = 0 for the point at infinity. Not in constant time: it works with public values only.

-- The number that big-endian bytes stand for.
CREATE FUNCTION @schema@.from_big_endian(bytes bytea) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n numeric := 0;
BEGIN
  FOR i IN 0 .. octet_length(bytes) - 1 LOOP
    n := n * 256 + get_byte(bytes, i);
  END LOOP;
  RETURN n;
END
$$;

-- r and s of a signature in DER (RFC 3279, section 2.2.3): SEQUENCE { INTEGER r, INTEGER s }, each 1 to n - 1. Null for
-- anything else, and for any other encoding (BER) of the same numbers, as OpenSSL: another encoding is another signature.
CREATE FUNCTION @schema@.p256_signature(der bytea) RETURNS numeric[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n CONSTANT numeric := 115792089210356248762697446949407573529996955224135760342422259061068512044369;
  total int := octet_length(der);
  place int := 2;
  length int;
  number numeric;
  numbers numeric[] := '{}';
BEGIN
  -- The longest: two numbers of 33 bytes. So every length is one byte.
  IF total NOT BETWEEN 8 AND 72 OR get_byte(der, 0) <> 48 OR get_byte(der, 1) <> total - 2 THEN RETURN NULL; END IF;
  FOR i IN 1 .. 2 LOOP
    -- Tag, length and one byte.
    IF place + 3 > total OR get_byte(der, place) <> 2 THEN RETURN NULL; END IF;
    length := get_byte(der, place + 1);
    place := place + 2;
    IF length NOT BETWEEN 1 AND 33 OR place + length > total THEN RETURN NULL; END IF;
    -- Not negative, and no zero in front that is not needed.
    IF get_byte(der, place) > 127 THEN RETURN NULL; END IF;
    IF length > 1 AND get_byte(der, place) = 0 AND get_byte(der, place + 1) < 128 THEN RETURN NULL; END IF;
    number := @schema@.from_big_endian(substr(der, place + 1, length));
    IF number < 1 OR number >= n THEN RETURN NULL; END IF;
    numbers := numbers || number;
    place := place + length;
  END LOOP;
  RETURN CASE WHEN place = total THEN numbers END;
END
$$;

-- The sum of two points of the curve, {x, y} each; null: the point at infinity.
CREATE FUNCTION @schema@.p256_add(a numeric[], b numeric[]) RETURNS numeric[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p CONSTANT numeric := 115792089210356248762697446949407573530086143415290314195533631308867097853951;
  slope numeric;
  x numeric;
BEGIN
  IF a[1] <> b[1] THEN
    slope := mod((b[2] - a[2]) * @schema@.inverse(b[1] - a[1], p), p);
  ELSIF a[2] = b[2] THEN
    -- There is no point with y = 0: the order of the group is a prime.
    slope := mod(mod(3 * (a[1] * a[1] - 1), p) * @schema@.inverse(2 * a[2], p), p);
  ELSE
    RETURN NULL;
  END IF;
  x := mod(mod(slope * slope - a[1] - b[1], p) + p, p);
  RETURN ARRAY[x, mod(mod(slope * (a[1] - x) - a[2], p) + p, p)];
END
$$;

-- Whether `signature` (DER) is that of `public_key` (65 bytes: 4, x, y; SEC 1, section 2.3.3) over `message`. False also
-- for a key that is no point of the curve and for what is no signature. s and n - s are both right, as in FIPS 186-5.
CREATE FUNCTION @schema@.p256_verify(public_key bytea, message bytea, signature bytea) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  p CONSTANT numeric := 115792089210356248762697446949407573530086143415290314195533631308867097853951;
  n CONSTANT numeric := 115792089210356248762697446949407573529996955224135760342422259061068512044369;
  b CONSTANT numeric := 41058363725152142129326129780047268409114441015993725554835256314039467401291;
  base_x CONSTANT numeric := 48439561293906451759052585252797914202762949526041747995844080717082404635286;
  base_y CONSTANT numeric := 36134250956749795798585127919587881956611106672985015071877198253568414405109;
  key_x numeric;
  key_y numeric;
  -- G + Q; null: infinity.
  sum numeric[];
  rs numeric[] := @schema@.p256_signature(signature);
  u numeric;
  v numeric;
  u_digits int[] := '{}';
  v_digits int[] := '{}';
  x numeric := 0;
  y numeric := 1;
  z numeric := 0;
  at_x numeric;
  at_y numeric;
  twice numeric[];
  alpha numeric;
  beta numeric;
  gamma numeric;
  zz numeric;
  h numeric;
  hh numeric;
  r numeric;
  pick int;
BEGIN
  IF rs IS NULL OR octet_length(public_key) <> 65 OR get_byte(public_key, 0) <> 4 THEN RETURN false; END IF;
  key_x := @schema@.from_big_endian(substr(public_key, 2, 32));
  key_y := @schema@.from_big_endian(substr(public_key, 34, 32));
  IF key_x >= p OR key_y >= p
     OR mod(mod(key_x * key_x - 3, p) * key_x + b - key_y * key_y, p) <> 0 THEN
    RETURN false;
  END IF;
  sum := @schema@.p256_add(ARRAY[base_x, base_y], ARRAY[key_x, key_y]);
  v := @schema@.inverse(rs[2], n);
  u := mod(@schema@.from_big_endian(sha256(message)) * v, n);
  v := mod(rs[1] * v, n);
  FOR i IN 0 .. 8 LOOP
    u_digits[i] := mod(u, 1073741824)::int;
    u := div(u, 1073741824);
    v_digits[i] := mod(v, 1073741824)::int;
    v := div(v, 1073741824);
  END LOOP;

  -- uG + vQ, the bits of both at once.
  FOR i IN REVERSE 255 .. 0 LOOP
    IF z <> 0 THEN
      zz := mod(z * z, p);
      gamma := mod(y * y, p);
      beta := mod(x * gamma, p);
      alpha := mod(3 * (x - zz) * (x + zz), p);
      x := mod(alpha * alpha - 8 * beta, p);
      z := mod(2 * y * z, p);
      y := mod(alpha * (4 * beta - x) - 8 * gamma * gamma, p);
    END IF;
    pick := ((u_digits[i / 30] >> (i % 30)) & 1) + 2 * ((v_digits[i / 30] >> (i % 30)) & 1);
    CONTINUE WHEN pick = 0 OR (pick = 3 AND sum IS NULL);
    IF pick = 1 THEN
      at_x := base_x;
      at_y := base_y;
    ELSIF pick = 2 THEN
      at_x := key_x;
      at_y := key_y;
    ELSE
      at_x := sum[1];
      at_y := sum[2];
    END IF;
    IF z = 0 THEN
      x := at_x;
      y := at_y;
      z := 1;
      CONTINUE;
    END IF;
    zz := mod(z * z, p);
    h := mod(at_x * zz - x, p);
    r := mod(at_y * mod(z * zz, p) - y, p);
    IF h <> 0 THEN
      hh := mod(h * h, p);
      alpha := mod(h * hh, p);
      beta := mod(x * hh, p);
      x := mod(r * r - alpha - 2 * beta, p);
      y := mod(r * (beta - x) - y * alpha, p);
      z := mod(z * h, p);
    ELSIF r = 0 THEN
      -- The same point once more.
      twice := @schema@.p256_add(ARRAY[at_x, at_y], ARRAY[at_x, at_y]);
      x := twice[1];
      y := twice[2];
      z := 1;
    ELSE
      z := 0;
    END IF;
  END LOOP;
  IF z = 0 THEN RETURN false; END IF;
  -- The point's x, whole, is r, or r + n where that is still below p.
  zz := mod(z * z, p);
  RETURN mod(rs[1] * zz - x, p) = 0 OR (rs[1] + n < p AND mod((rs[1] + n) * zz - x, p) = 0);
END
$$;
COMMENT ON FUNCTION @schema@.p256_verify IS
  'Whether a signature (DER) is that of a P-256 key (65 bytes) over a message: ECDSA with SHA-256, computed here: some hundredths of a second.';

REVOKE ALL ON FUNCTION @schema@.from_big_endian, @schema@.p256_signature, @schema@.p256_add, @schema@.p256_verify FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @schema@.p256_verify TO @auditor@;
