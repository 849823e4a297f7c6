export type { Database, DatabaseOperation } from './database.js';
