/** User of the demo device of `dev`. */
export const demoUser = 'demo';
