import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { secureHeaders } from 'hono/secure-headers';
import type { Logger } from 'pino';
import type { ApprovalDesk, RequestFeed, SnoozeDesk } from '../../approval/guard.ts';
import type { AuditSearch } from '../../audit/port.ts';
