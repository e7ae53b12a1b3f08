/**
 * Start-up options of a connection on which times are read as dates: node-postgres reads the ISO form alone, and whoever
 * owns the audit database may have set another for everybody.
 */
export const ISO_DATES = '-c DateStyle=ISO';
