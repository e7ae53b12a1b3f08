import type { ApproverCheck, GuardCode, PasskeyDesk, RequestView } from '../../approval/guard.ts';
import { identitiesOf, type Session } from './entrance.ts';
import type { Ways } from './visitor.ts';

/** What speaks against approving only: saying no is easy. */
const ONLY_APPROVING: readonly GuardCode[] = ['assurance_too_low', 'not_on_call', 'too_fast'];

/** Which buttons a request has for this session. */
export function waysOf(desk: ApproverCheck & PasskeyDesk, view: RequestView, session: Session): Ways {
  const person = identitiesOf(session);
  const plain = desk.mayApprove(view, person, session.assurance);
  const hasPasskey = desk.passkeysOf(person).length > 0;
  const signed = hasPasskey ? desk.mayApprove(view, person, 3) : plain;
  const lacksPasskey = !hasPasskey && plain?.code === 'assurance_too_low' && view.demandNow.assurance === 3;
  return {
    approve: plain === null,
    approveWithPasskey: hasPasskey && signed === null,
    deny: signed === null || ONLY_APPROVING.includes(signed.code),
    hindrance: lacksPasskey ? LACKS_PASSKEY : (signed?.message ?? null),
    lacksPasskey,
  };
}

const LACKS_PASSKEY =
  'The rule asks for a passkey, and the configuration has none of yours. You can deny it all the same.';
