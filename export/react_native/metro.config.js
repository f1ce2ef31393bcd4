// Metro packs the model's files as they are.
const { getDefaultConfig, mergeConfig } = require('@react-native/metro-config');

const usual = getDefaultConfig(__dirname);

module.exports = mergeConfig(usual, {
  resolver: { assetExts: [...usual.resolver.assetExts, 'tflite', 'bin'] },
});
