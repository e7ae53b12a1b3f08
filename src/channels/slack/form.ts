import type { types } from '@slack/bolt';
import { REASON_CHARACTERS } from '../../approval/guard.ts';
import type { Click } from './clicks.ts';
import { DENY_FORM, originValue, REASON_BLOCK, REASON_INPUT, type Subject } from './values.ts';

/** The form that asks why a request is denied. The agent is told the reason. */
export function denyForm(click: Click): types.ModalView {
  return {
    type: 'modal',
    callback_id: DENY_FORM,
    private_metadata: originValue({ ...click.subject, channel: click.channel }),
    title: { type: 'plain_text', text: 'Deny a statement' },
    submit: { type: 'plain_text', text: 'Deny' },
    close: { type: 'plain_text', text: 'Back' },
    blocks: [
      {
        type: 'section',
        text: { type: 'plain_text', text: aboutWords(click.subject), emoji: false },
      },
      {
        type: 'input',
        block_id: REASON_BLOCK,
        label: { type: 'plain_text', text: 'Reason' },
        hint: { type: 'plain_text', text: 'The agent is told this, word for word.' },
        element: {
          type: 'plain_text_input',
          action_id: REASON_INPUT,
          multiline: true,
          max_length: REASON_CHARACTERS,
          focus_on_load: true,
        },
      },
    ],
  };
}

function aboutWords({ requestId, alike }: Subject): string {
  return alike.length === 0
    ? `Request ${requestId}`
    : `Request ${requestId} and ${alike.length - 1} more for the very same`;
}
