import type { Analysis, StatementAnalysis } from '../statement/analysis.ts';
import type { Answer, Answers, Doubt, Estimate, Meaning } from '../statement/answers.ts';

/** A parameter as it was bound: type as the client declared it (0: not), bytes in text (0) or binary (1) format. */
export type QuestionParameter = {
  readonly typeOid: number;
  readonly format: 0 | 1;
  readonly value: Buffer | null;
};

/** Texts are single statements, the agent's own bytes. Null, or a rejection: the server could not say. */
export type ServerQuestions = {
  /** `types`: OIDs of the parameters' types as the client declared them, 0 or left out where it did not. */
  readonly meaning: (
    sql: Buffer,
    searchPath: readonly string[],
    types: readonly number[],
  ) => Promise<Meaning | null>;
  /** Planning runs functions, so only for statements whose functions are all known to be harmless. */
  readonly estimate: (
    sql: Buffer,
    searchPath: readonly string[],
    parameters: readonly QuestionParameter[] | null,
  ) => Promise<Estimate | null>;
};

/**
 * Asks the server about each statement with a `doubt`, and analyses again with its answers: first what names mean, then,
 * where size alone is left to doubt, how large it is. Null: it had no answer. `failed` is told of each question that
 * could not be answered; the statement is then judged without.
 */
export async function clarify(
  sql: Buffer,
  first: Analysis,
  parameters: readonly QuestionParameter[] | null,
  questions: ServerQuestions,
  again: (answers: Answers) => Promise<Analysis>,
  failed: (error: unknown) => void,
): Promise<Analysis | null> {
  const orNull = async <T>(question: Promise<T | null>): Promise<T | null> => {
    try {
      return await question;
    } catch (error) {
      failed(error);
      return null;
    }
  };
  const types = parameters?.map(({ typeOid }) => typeOid) ?? [];
  const meanings = await Promise.all(
    first.statements.map((statement) =>
      statement.doubt?.names === true
        ? orNull(
            questions.meaning(
              textOf(sql, statement),
              statement.doubt.searchPath,
              statement.doubt.types ?? types,
            ),
          )
        : Promise.resolve(null),
    ),
  );
  const named = meanings.some((meaning) => meaning !== null)
    ? await again(meanings.map((meaning) => answerOf(meaning, null)))
    : first;
  const estimates = await Promise.all(
    named.statements.map((statement) =>
      sizeInDoubt(statement)
        ? questions
            .estimate(
              textOf(sql, statement),
              statement.doubt.searchPath,
              statement.doubt.types === undefined ? parameters : null,
            )
            .catch((error: unknown): typeof LATE => {
              failed(error);
              return LATE;
            })
        : Promise.resolve(null),
    ),
  );
  if (estimates.some((estimate) => estimate !== null))
    return await again(
      estimates.map((estimate, place) =>
        estimate === LATE
          ? { meaning: meanings[place] ?? null, estimate: null, late: true }
          : answerOf(meanings[place] ?? null, estimate),
      ),
    );
  return named === first ? null : named;
}

/** The question failed: nobody knows whether there is an answer. */
const LATE = 'late';

/** What the questions about a statement are about. */
function textOf(sql: Buffer, { start, end, doubt }: StatementAnalysis): Buffer {
  const [from, to] = doubt?.part ?? [start, end];
  return sql.subarray(from, to);
}

function answerOf(meaning: Meaning | null, estimate: Estimate | null): Answer | null {
  return meaning === null && estimate === null ? null : { meaning, estimate };
}

/** It is an export by its size and nothing else; a name that may mean code that nobody knows would make it opaque. */
function sizeInDoubt(statement: StatementAnalysis): statement is StatementAnalysis & { doubt: Doubt } {
  const { doubt, class: found } = statement;
  return doubt?.size === true && found === 'export';
}
