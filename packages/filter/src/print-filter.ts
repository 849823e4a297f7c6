import type { FilterExpression, FilterLiteral } from './expression.js';
import { isKeyword } from './token.js';

/**
 * Prints an expression in its one canonical text: `parseFilter` of it gives an equal expression.
 *
 * Texts stand in double quotes, field names in brackets only where they must.
 */
export const printFilter = (expression: FilterExpression): string => {
  switch (expression.kind) {
    case 'and':
      return expression.all.map(printOperand).join(' and ');
    case 'or':
      return expression.any
        .map((item) => (item.kind === 'or' ? `(${printFilter(item)})` : printFilter(item)))
        .join(' or ');
    case 'not':
      return `not ${printOperand(expression.not)}`;
    case 'compare':
      return `${printName(expression.field)} ${expression.operator} ${printLiteral(expression.value)}`;
    case 'in': {
      const operator = expression.negated ? 'not in' : 'in';
      return `${printName(expression.field)} ${operator} (${expression.values.map(printLiteral).join(', ')})`;
    }
    case 'null':
      return `${printName(expression.field)} is ${expression.negated ? 'not ' : ''}null`;
    case 'like':
    case 'contains':
      return `${printName(expression.field)} ${expression.kind} ${printLiteral(expression.text)}`;
    case 'starts-with':
      return `${printName(expression.field)} starts with ${printLiteral(expression.text)}`;
  }
};

const printOperand = (expression: FilterExpression): string =>
  expression.kind === 'and' || expression.kind === 'or'
    ? `(${printFilter(expression)})`
    : printFilter(expression);

const printName = (name: string): string =>
  /^[$A-Za-z_][A-Za-z0-9_]*$/.test(name) && !isKeyword(name)
    ? name
    : `[${name.replaceAll(']', ']]')}]`;

const printLiteral = (value: FilterLiteral): string =>
  typeof value === 'string' ? `"${value.replaceAll('"', '""')}"` : String(value);
