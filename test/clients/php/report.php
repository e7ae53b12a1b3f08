<?php
declare(strict_types=1);

set_error_handler(static function (int $level, string $message): bool {
    // What pg_* functions say only as a warning.
    throw new ErrorException($message);
});

const SLEEP = 'SELECT pg_sleep(10)';

function tag(): string
{
    return (string) getenv('CLIENT_TAG');
}

/** Runs the steps and prints the line that the frame reads; a step may return how it was done. */
function feature(string $name, callable ...$steps): void
{
    $report = ['feature' => $name, 'ok' => true, 'detail' => ''];
    try {
        foreach ($steps as $step) {
            $report['detail'] = $step() ?? $report['detail'];
        }
    } catch (Throwable $error) {
        $report = ['feature' => $name, 'ok' => false, 'detail' => $error->getMessage() . ' line ' . $error->getLine()];
    }
    echo json_encode($report, JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}

function equal(mixed $expected, mixed $actual): void
{
    if ($expected !== $actual) {
        throw new RuntimeException('expected ' . json_encode($expected) . ', got ' . json_encode($actual));
    }
}
